// Package link emulates a network link between two ends on one machine, over
// which the sockets of the kernel send real TCP and UDP: with a round-trip time,
// jitter, a rate, loss, reordering, an MTU and blocked directions, all random
// decisions made from a seed.
//
//	l, err := link.New(1, link.Conditions{RTT: 20 * time.Millisecond, Loss: 0.005})
//	ln, err := l.A().Listen(ctx, "tcp", l.A().Addr().String()+":0")
//	conn, err := l.B().Dial(ctx, "tcp", ln.Addr().String())
//
// # How it works
//
// Each end is a network namespace with a TUN device; a process of its own reads
// the packets that one kernel sends, decides their fate, and hands them to the
// other. It is the running program, started again under the name gridmux-link,
// so that the processor time and the memory of the link do not count as those of
// the program that is measured, nor the program's scheduler delays packets. What the
// kernel does to receive a packet counts as the link's, too. On two processors it
// carries more than a gigabit a second; [Stats] say when a machine is too busy for that.
//
// It needs neither the ip command nor netem, and it needs the right to make network
// namespaces: that of root, or of any user where user namespaces are allowed,
// who must also be able to open /dev/net/tun. Where something of it is missing,
// or the system is not Linux, [New] fails with [ErrUnavailable] and says what.
//
// Sockets are made in the namespaces and used by the program like any other, from
// any goroutine. Nothing of it has a name in the system: the namespaces and
// their devices end with [Link.Close], and when the program ends, however it ends.
// A socket that is still open then keeps its empty namespace until it is closed.
//
// # What the link is
//
// A packet first waits for the line to be free, in a drop-tail queue; then it
// occupies the line for its size at the rate, with its IP header: of a rate of
// 100 Mbit/s, TCP carries 96.5 Mbit/s of payload at an MTU of 1500. What is lost is
// lost after that. Then it travels for half of the RTT. Jitter does not reorder
// packets; only what [Conditions.Reorder] picks is overtaken.
//
// The devices of the ends have an MTU of 1500 octets or that of the link, whichever
// is larger, and a narrower link is a router on the path: it fragments IPv4
// packets that allow it, and answers others with an ICMP message that tells the
// MTU, as path MTU discovery expects. As everywhere, the kernels remember an MTU
// that they were told for ten minutes.
//
// Packets cross as they would on a wire: what the ends send in one piece for a device to
// cut is cut before. Multicast does not cross, and neither does what
// is not IP, so what the counters show is the traffic of the program alone.
package link
