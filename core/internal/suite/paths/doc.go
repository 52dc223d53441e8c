// Package paths has no code but tests of package core: of what calls and streams
// see of bad paths where the transport carries datagrams, as QUIC does. They run on
// a simulated network, in virtual time.
package paths
