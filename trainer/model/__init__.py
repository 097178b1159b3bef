"""The model of a trial: the LSTM, its packing and recurrence, dropout, and models of a user's own."""
