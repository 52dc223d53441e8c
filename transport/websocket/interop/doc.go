// Package interop holds the websocket transport against another implementation
// of RFC 6455, github.com/coder/websocket, as client and as server. It has a
// module of its own so that users of the transport do not get that library. It
// contains tests only.
package interop
