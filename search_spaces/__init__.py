"""One declarative module per study: its file name is the study's name, its STUDY says what it asks."""
