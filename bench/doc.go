// Command bench shows gridmux at work and measures its transports side by side
// on this machine. From a clone of the repository:
//
//	go run ./bench
//
// It first brings up a cluster of three nodes over every transport and tells,
// line by line, what happens there: a call, a node that is killed with a call in
// progress, what the other nodes see of it, and how the cluster heals when the
// node is back. Then it measures for half a minute and prints three tables. The
// exit code is 0 if everything succeeded, 1 if a transport failed, 2 for flags
// that make no sense and 130 after an interrupt. Run it with -help for the flags.
//
// # How it measures
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
// them. The tables say what the library and the transport cost, which is most
// of the latency within a data centre, and nothing of what distance and loss
// do to a transport.
package main
