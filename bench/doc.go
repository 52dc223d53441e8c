// Command bench shows gridmux at work and measures its transports side by side
// on this machine. From a clone of the repository:
//
//	go run ./bench
//
// It first brings up a cluster of three nodes over every transport and tells,
// line by line, what happens there: a call, a node that is killed with a call in
// progress, what the other nodes see of it, and how the cluster heals when the
// node is back. Then it measures for half a minute and prints a table. The exit
// code is 0 if every call succeeded, 1 if a transport failed, 2 for flags that
// make no sense and 130 after an interrupt. Run it with -help for the flags.
//
// # How it measures
//
// For each transport two nodes in this process have one connection, over the
// loopback interface if the transport uses sockets. A caller sends a request,
// waits for the answer, which is the request itself, and sends the next (a
// closed loop). The table has a block for each number of callers that do so at
// the same time.
//
// The transports take turns in short windows, round after round, so that what
// the machine does besides disturbs all of them alike. At the beginning of each
// window a part of it is not counted, for caches and pools to warm up. A figure
// of the table is the median of the windows.
//
// # How to read the table
//
//   - requests per s: how many requests were answered in a second.
//   - ±: how far, in per cent of that, the farthest window was off. Differences
//     between two lines that are not larger than this mean nothing.
//   - vs websocket: the rate compared with that of the reference transport in the
//     same round, the median of the rounds. Figures in requests per second
//     depend on the machine and on what it does besides; of two runs, compare
//     the ratios.
//   - p50, p99, p99.9: the latency that 50, 99 and 99.9 per cent of the requests
//     stayed within, as the caller sees it.
//   - allocs/req, CPU/req: allocations and processor time per request, of both
//     ends and of the loop of the caller.
//
// Both ends share the processors of one machine and there is no network between
// them. The table says what the library and the transport cost, which is most
// of the latency within a data centre, and nothing of what distance and loss
// do to a transport.
package main
