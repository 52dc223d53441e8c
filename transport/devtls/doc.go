// Package devtls makes certificates for tests and quick starts: an authority in
// memory, and for each node a configuration of mutual TLS in which its certificate
// proves its name. It needs no files, no command line and no clean-up, and writes
// nothing anywhere.
//
//	t := websocket.New(websocket.Options{TLS: devtls.Config("n1")})
//
// Nodes with such configurations connect without Config.Auth and without
// Config.AllowInsecure of the core, as with certificates in production; nobody else
// gets in. All of them have to be in one process, since the key of the authority
// is. [New] makes further authorities, for tests in which clusters must not trust
// each other or certificates are not as they should be.
//
// Any name that the core allows for a node works, also one that is no name in the
// sense of DNS, but for a single dot. In a testing/synctest bubble certificates are valid by its clock,
// whether or not the authority was made there.
package devtls
