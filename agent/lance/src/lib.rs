//! LanceDB's files: discovery, manifests, closures, pins, the cut
