// Package transport defines the seam between the mux core and the network: a
// framed connection that is ordered, reliable and keeps frame boundaries.
//
// A program that uses gridmux picks one implementation and hands it to
// core.Config: [github.com/gridmux/gridmux/transport/websocket] or
// [github.com/gridmux/gridmux/transport/quic] between processes,
// [github.com/gridmux/gridmux/transport/inmem] inside a test, or several of them, by
// [Fallback]. It never calls the methods of this package itself.
//
// To write a transport, implement [Transport], [Listener] and [Conn] to the
// letter of their comments and run transporttest.Run from a test of yours: it
// checks every rule stated here. The package imports the standard library only
// and knows nothing of what the frames contain.
//
// # Vocabulary
//
// A frame is the unit that WriteFrames sends and ReadFrame returns: a byte
// slice of 0 to [Info].MaxFrame bytes whose boundaries the transport keeps. The
// core packs many of its own messages into one frame. A lane is a further
// ordered pipe of frames inside one connection; see [LaneConn].
package transport
