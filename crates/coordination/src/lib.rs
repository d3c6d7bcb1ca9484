//! Waits and expiring marks that spare work between replicas: in one process, or over Redis.
