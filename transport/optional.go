package transport

import "context"

// LaneConn is implemented by a [Conn] that can open further lanes: pipes of
// frames inside the same connection, each ordered in itself and independent of
// the others, so that a lane that stalls holds up no other. It is found by type
// assertion on the connection that Dial or Accept returned; that connection is
// itself the first lane.
//
// A lane is a [Conn] in every respect, with these additions. CloseWithError on
// a lane ends that lane alone; on the first lane it ends the connection, all
// lanes included. Info of a lane differs from that of its connection at most in
// Headroom and MaxFrame. A lane does not open lanes of its own.
type LaneConn interface {
	Conn

	// OpenLane opens a lane. The peer learns of it at the latest with its
	// first frame. It waits with ctx while the peer's limit on open lanes is
	// reached; with a ctx that has ended it does not wait, and opens a lane where
	// that is possible at once. It fails with an error matching net.ErrClosed after
	// CloseWithError on this side.
	OpenLane(ctx context.Context) (Conn, error)

	// AcceptLane returns the next lane that the peer opened, in the order of
	// opening. It returns ctx's error when ctx ends, and an error when the
	// connection has ended.
	AcceptLane(ctx context.Context) (Conn, error)
}

// BufferedConn is implemented by a [Conn] that reads ahead, so that the core can
// take in everything that one read of the link brought before it lets others
// run. It is found by type assertion.
type BufferedConn interface {
	Conn

	// FrameBuffered reports whether the next ReadFrame returns without waiting
	// for the link, with a frame or an error. It may be called only by the
	// goroutine that calls ReadFrame. False is always a right answer.
	FrameBuffered() bool
}
