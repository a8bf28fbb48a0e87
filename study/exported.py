"""Nets that `study.launch export` wrote: `study.exported.load_exported(FILE)`, a name to rely on."""

from study.sweep.export.files import load_exported as load_exported
