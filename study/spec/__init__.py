"""What is asked: knobs, studies, configurations and their identity. No torch, no files; imports nothing of ours."""
