"""Which variant answers which prompt: learnt from outcomes, calibrated, evaluated and served."""
