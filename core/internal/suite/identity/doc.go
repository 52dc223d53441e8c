// Package identity has no code but tests of package core: of nodes that prove who
// they are by the certificates of the link. They hold what both sides are told when
// TLS fails, that certificates and authorities are replaced under traffic, and who
// may call which handler. Every transport over TLS has a line in links_test.go.
package identity
