//! What the coordinator does by itself: passes that compare wanted with actual, and act.
