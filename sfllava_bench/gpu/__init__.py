"""What only a large card can prove, made ready without one: rehearsals without weights, the list of acceptance."""
