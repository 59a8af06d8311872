"""One machine as the cloud: executes adf/, hosts function_app.py, and stands in for what Azure has. Never deployed."""
