// Package faulty puts faults under any transport: delay, jitter, a narrow line,
// stalls, cuts at a given byte, flipped bits, dials that fail and accepts that
// are late. It is meant for tests, of a service that uses a transport and of
// transports themselves. [github.com/gridmux/gridmux/transport/inmem] has the
// same faults built in; this package has them for real links, such as websocket.
//
//	t := faulty.Wrap(websocket.New(websocket.Options{})) // a transport.Transport
//
// Hand t to the Manager of a node in place of the transport itself, and disturb
// it while the node works. Directions are seen from that node: [Out] is what it
// sends, [In] what it receives, from and to all its peers alike. A fault that
// disturbs two of them differently takes two nodes, or inmem.
//
// # Faults
//
//   - [Transport.SetConditions] delays, narrows, splits, merges and corrupts;
//     see [Conditions].
//   - [Transport.Stall] holds what connections carry in one direction, and
//     [Transport.Partition] everything.
//   - [Transport.Cut] breaks connections.
//   - [Transport.CutAfter], [Transport.StallAfter] and [Transport.CorruptNext] do
//     something at a given byte, on a connection that is yet to be made too, so
//     that a test can walk over every byte of a handshake.
//   - [Transport.RefuseDials], [Transport.SetDialDelay] and
//     [Transport.SetAcceptDelay] concern new connections.
//   - [Transport.Heal] ends stalls and partitions, and forgets what is planned.
//
// Frames are the unit: none is lost, duplicated, reordered or cut in two, since
// no transport does that while its connection lives. A fault that begins in the
// middle of a frame takes the whole frame.
//
// # What differs from the link below
//
// A connection reads through a goroutine of its own, which begins with its first
// ReadFrame and ends with the connection, and copies each frame. While the
// direction In is disturbed it reads ahead, up to 64 KiB; then a frame over the
// limit of ReadFrame is refused only after it was read whole. Connections do not
// implement [transport.BufferedConn]; they have lanes if those below have.
//
// CloseWithError returns at once as ever, but the peer learns of it only after
// what is delayed, so that the link below lives on for so long: at most a second
// longer than its delays where the peer does not read, and until
// [Transport.Heal], or a minute, where it is stalled. A test that looks for
// goroutines heals before it ends.
//
// # Time
//
// All waits are timers and conditions made when needed, so that a transport that
// works in a bubble of testing/synctest does so under faults. What is drawn by
// chance is drawn for every connection and direction by itself, from the seed of
// [WithSeed], whether the node dialled or accepted, and the number of the
// connection.
package faulty
