// Command bench shows gridmux at work and measures its transports side by side
// on this machine. From a clone of the repository:
//
//	go run ./bench
//
// It first brings up a cluster of three nodes over every transport and tells,
// line by line, what happens there: a call, a node that is killed with a call in
// progress, what the other nodes see of it, and how the cluster heals when the
// node is back. Then it measures for half a minute on the loopback interface and
// prints three tables, and for almost as long over emulated links, with a table for
// each. The exit code is 0 if everything succeeded, 1 if a transport failed, 2 for flags
// that make no sense and 130 after an interrupt, which prints what there is by then.
// Run it with -help for the flags.
//
// # On the loopback interface
//
// For each transport two nodes in this process have one connection, over the
// loopback interface if the transport uses sockets. What they do there has a table
// each, and -workloads selects from them:
//
//   - calls: a caller sends a request, waits for the answer, which is the request
//     itself, and sends the next (a closed loop). There is a block for each number
//     of callers that do so at the same time.
//   - streams: messages go as fast as the other side takes them, from the handler to
//     its caller, from the caller to the handler, and both ways, over one stream and
//     over many at the same time.
//   - mixed: a caller of small requests alone, and the same beside others whose
//     requests and answers are large.
//
// The transports take turns in short windows, round after round, so that what
// the machine does besides disturbs all of them alike. At the beginning of each
// window a part of it is not counted, for caches and pools to warm up. A figure
// of the tables is the median of the windows.
//
// # How to read the tables
//
//   - requests per s: how many requests were answered in a second.
//   - messages per s: how many messages were received in a second, or sent where
//     they go to the handler: the two differ by what one window of flow control
//     holds at most. MiB per s is how many bytes those were.
//   - ±: how far, in per cent of that, the farthest window was off. Differences
//     between two lines that are not larger than this mean nothing.
//   - vs websocket: the rate compared with that of the reference transport in the
//     same round, the median of the rounds. Figures in requests per second
//     depend on the machine and on what it does besides; of two runs, compare
//     the ratios.
//   - p50, p99, p99.9: the latency that 50, 99 and 99.9 per cent of the requests
//     stayed within, as the caller sees it.
//   - bulk MiB per s: how many bytes the large requests beside the small ones
//     had, and so their answers.
//   - allocs/req, CPU/req, or per message: allocations and processor time, of both
//     ends and of the loop of the caller.
//
// Both ends share the processors of one machine and there is no network between
// them. These tables say what the library and the transport cost, which is most
// of the latency within a data centre, and nothing of what distance and loss
// do to a transport.
//
// # Over emulated links
//
// This is what the workload links is for: small calls beside streams that have a
// steady rate, over links with a round-trip time and a loss. Real TCP and UDP of the
// kernel cross them, between two network namespaces. By default there are three losses at
// two round-trip times, for three seconds each; of the transports, those with TLS
// are compared, and those that -transports names if it is given. So
//
//	go run ./bench -workloads links -rtt 20ms,100ms -loss 0,0.5%,2% -link-time 1m
//	go run ./bench -workloads links -link wan -link lossy-wifi,loss=5%
//
// measure a grid for as long as figures in the tail need, and links by name. The load
// is that of -link-rate, -size, -link-streams and -stream-rate.
//
//   - Calls are due at fixed times, whatever became of those before (an open loop). The
//     latency of a call counts from when it was due, so that one that was sent late is not
//     taken for a fast one. Calls that failed count with what they took until then, and
//     have a column if there are any.
//   - Streams have a message every 10 ms; what could not be sent in time is sent
//     later. Their column has what all of them sent: a transport that is short of their
//     rate did not carry the load.
//   - All transports run at the same time, each over a link of its own with the same
//     conditions and seed, so that what the machine does besides disturbs all alike. If it
//     has too much to do for the links to be in time, a warning says so.
//   - vs wss is the ratio of the p99. A transport wins over a link if its p99 was the
//     lowest in each fifth of the time by itself: by chance that is so in one of sixteen
//     runs of two that are alike.
//   - The matrix has the ratio of the p99 for every round-trip time and loss.
//
// With loss, congestion control decides more than the transport does: that of TCP is
// the kernel's, that of QUIC is in quic-go, and both are named below the tables.
// -tcp-congestion chooses another one of the kernel's.
//
// Links need Linux, and either root or a user who may make user namespaces, and who
// can open /dev/net/tun. Elsewhere they are left out, and a line says what was refused.
package main
