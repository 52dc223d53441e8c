// Package websocket is the reference transport of gridmux: one binary websocket
// message (RFC 6455) per frame, over HTTP/1.1, with or without TLS.
//
// A node needs nothing but
//
//	core.Config{Transport: websocket.New(websocket.Options{})}
//
// and listens on the address that the core gives to Listen. With [Options].TLS
// the link is wss and the certificate must be valid for the name of the peer, as
// transport.CertificateName writes it; with client certificates required, both
// nodes prove theirs. [Options].GetTLS replaces certificates and authorities while
// the node runs. What else certificates have to be is for VerifyConnection of the
// configuration, which either side asks at every connection: no session of TLS is
// resumed.
//
// # On an existing server
//
// A [Transport] is an http.Handler and can share the port of a program that
// serves HTTP anyway. Set [Options].Mounted, so that it opens no port of its
// own, and register it where the peers dial, by default [DefaultPath]:
//
//	t := websocket.New(websocket.Options{Mounted: true})
//	mux := http.NewServeMux()
//	mux.Handle(websocket.DefaultPath, t)
//
// It looks at no part of the URL itself, so it works behind http.StripPrefix
// and under several paths. Before Listen and after the listener's Close it
// answers 503. Three things on the way to it matter:
//
//   - HTTP/1.1 only: a websocket cannot begin on an HTTP/2 connection. A server
//     that speaks both is fine, since Dial asks for HTTP/1.1.
//   - A middleware that replaces the http.ResponseWriter needs an Unwrap or
//     Hijack method; http.TimeoutHandler has neither.
//   - http.Server.Shutdown neither ends nor waits for connections that were
//     upgraded: call Manager.Shutdown after it, and let the process end when both
//     have returned. Functions of RegisterOnShutdown are no place for that, since
//     nothing waits for them. Time-outs of the server have no effect on upgraded
//     connections.
//
// The surrounding server decides how long and how many clients may take up to
// the upgrade: set http.Server.ReadHeaderTimeout, and MaxHeaderBytes if the
// default of 1 MiB is too much.
//
// With [Options].RequireClientCert it refuses whoever brought no verified client
// certificate, and promises that to the core. Without, a mounted listener
// promises nothing, whatever the server around it does: then Manager.Start needs
// Config.Auth or Config.AllowInsecure, and fails where another transport of the node
// has TLS, unless Config.AllowTLSProxy is set.
//
// A reverse proxy must pass the upgrade on and be more patient than the
// keep-alive of the core; docs/nginx.md in the repository has a configuration
// for nginx. Behind a proxy that ends TLS, Options.TLS without a certificate
// makes Dial use wss and leaves Listen plaintext.
//
// # Over something else than TCP
//
// [Options].DialContext and [Options].Listen make and accept the connections
// beneath, so that unix sockets, a proxy or a network in memory serve as well.
// In tests with connections in memory everything runs in a testing/synctest
// bubble.
//
// # What it accepts
//
// Only requests that name the sub-protocol [Subprotocol], and, unless
// [Options].CheckOrigin allows it, none that a browser sent: those carry an
// Origin header. Compression extensions are neither offered nor accepted.
//
// From TCP accept or connect on, TLS and upgrade together have five seconds,
// however slowly bytes trickle in. An own listener holds at most 256 connections
// that have not come through that yet. When one more arrives, the oldest of the
// host that has the most of them is closed, so that strangers who do nothing, of
// whatever number, keep no node out; an IPv6 network of 64 bits counts as a host.
// At most 128 upgraded connections wait for Accept; further ones get 503. An own
// listener also survives that the process has no file descriptor left, and goes
// on when there is one.
//
// # Limits
//
// Frames are up to 64 MiB. A received frame is bounded by the limit given to
// ReadFrame, however many fragments it comes in, of which there may be 1,024, and
// a longer one is refused from its header alone. Lengths that are not in their
// shortest form, which RFC 6455 leaves to the receiver, are refused. A
// peer that breaks RFC 6455 ends the connection: ReadFrame returns an error that
// names the section, and the close frame that CloseWithError then sends carries
// the websocket code of that breach (1002, 1003, 1007, 1008 or, for a frame over
// the limit, 1009) in place of the caller's code.
//
// # Close codes
//
// Code 0 is 1000 on the wire, and so is a close frame without a code; the
// user's codes 1 to 999 are 4001 to 4999. Codes of transports from 1000 on are
// sent as they are where RFC 6455 section 7.4 allows that, otherwise as 1011.
package websocket
