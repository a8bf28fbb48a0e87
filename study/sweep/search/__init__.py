"""The Optuna room: a search asks for points; its view can be made again from the tables."""
