//! What agent and probe say to each other over the socket
