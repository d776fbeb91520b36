"""Child processes: broker and model server for people without servers of their own."""
