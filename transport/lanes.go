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
	// reached, and fails with an error matching net.ErrClosed after
	// CloseWithError on this side.
	OpenLane(ctx context.Context) (Conn, error)

	// AcceptLane returns the next lane that the peer opened, in the order of
	// opening. It returns ctx's error when ctx ends, and an error when the
	// connection has ended.
	AcceptLane(ctx context.Context) (Conn, error)
}
