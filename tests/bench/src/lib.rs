//! Load generator, cheap upstream, bare reverse proxy.
