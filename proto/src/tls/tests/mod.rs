mod brought;
mod handshakes;
mod limits;
mod reloads;
mod support;
