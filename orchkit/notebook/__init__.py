"""The notebook: what the board and the approval cards show, and what they send back."""
