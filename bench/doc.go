// Command bench shows gridmux at work and measures its transports side by side
// on this machine. From a clone of the repository:
//
//	go run ./bench
//
// It first brings up a cluster of three nodes over every transport and tells,
// line by line, what happens there: a call, a stream, a node that is killed with a call
// in progress, what the other nodes see of it, and how the cluster heals when the
// node is back. Then it measures for half a minute on the loopback interface and
// prints tables, makes calls at a set rate, starts clusters and restarts a node of each,
// measures for almost as long over emulated links, with a table for each, and for a
// dozen seconds what compression is worth. At last it says in a few
// sentences which transport to choose. The exit code is 0 if everything succeeded, 1 if a
// transport failed, a -threshold was not kept or nothing fits into the time over a path, 2 for flags that make no sense or files that
// cannot be read or written, at the beginning or, which does not keep others from being
// written, at the end, and 130 after an interrupt, or when the terminal is closed, which prints
// and writes what there is by then. Standard output that ends early, as with head, is such a
// file too, for every command: the others are written, or if there are none the run ends at once.
// "go run" itself exits with 1 whatever the program does, as long as it is not 0: who wants to
// tell them apart builds it, with "go build ./bench". Run it with -help for the flags.
//
// # What it writes
//
// The directory bench-out, or that of -out, gets
//
//   - report.html, a page with the verdict, pictures and tables, which needs no other
//     file, no network and no scripts;
//   - charts, a directory with each of its pictures as SVG;
//   - results.txt, in the format of Go benchmarks with a line for each window or part
//     of the time, and one for the latencies of all of them, so that
//     "benchstat -col /transport bench-out/results.txt" compares the transports; its
//     frame-B/op are bytes of the library's frames (in JSON wire_bytes_each), over inmem
//     too, to which TLS, websocket, QUIC and IP add theirs;
//   - results.json, with all there is: every window, every latency in whole histograms
//     (in the V2 format of HdrHistogram, compressed, in base64), the environment, and
//     the command. Its schema has a version, which is another one if a reader of the old
//     one would misread it: in gridmux-bench/5, unlike in 4, lines are not there or have fewer
//     windows, each with its round, where something failed or is in left_out, and windows of
//     different lines may differ in length. "bench compare" reads both.
//
// A run that measured nothing leaves the directory as it was. With
//
//	go run ./bench compare old.json new.json
//
// two runs are compared, figure by figure, with the interval in which the change is
// with a confidence of 99 %. What may be chance is said to be no difference, or, where it may
// be a large one too, to be nothing that can be told. What is in one run only, what was measured in
// another way and what failed is named. Since whole
// machines become faster and slower, it also says which transports have changed beside
// websocket in the same run.
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
//   - fanout: a caller that sends a request to several nodes at once and waits for
//     all of them, as -fanout says.
//
// Calls are measured with further sizes too, those of -sizes, unless -size or -payload
// names one. With -payload messages are what is in a regular file of yours.
//
// The transports take turns in short windows, round after round, so that what
// the machine does besides disturbs all of them alike. At the beginning of each
// window a part of it is not counted, for caches and pools to warm up. A figure
// of the tables is the median of the windows, but latencies are those of all requests in all
// windows together. What ends in a window counts for the rate,
// over exactly its time; what begins in it has its latency measured to the end.
//
// A load that fails over a transport is not tried again over that one, and a transport of which two loads
// fail in turn is given up. What was measured before is in the tables, with the number of
// windows in brackets where there should be more.
//
// # How to read the tables
//
//   - requests per s: how many requests were answered in a second.
//   - messages per s: how many messages were received in a second; where they go to
//     the handler it tells of every 64th, or of each 256 KiB, and over a real path of
//     every fourth. MiB per s is how many bytes those were.
//   - vs websocket: the rate compared with that of the reference transport in the
//     same round, the median of the rounds, and the interval in which it is with a
//     confidence of 99 %. If 1 is in the interval there is no difference to be seen, and
//     the ratio has an ≈ in front. Figures in requests per second
//     depend on the machine and on what it does besides; of two runs, compare
//     the ratios.
//   - ±: where there is nothing to compare with, how far, in per cent of the rate, the
//     farthest window was off.
//   - p50, p99, p99.9: the latency that 50, 99 and 99.9 per cent of all requests stayed
//     within, as the caller sees it, here and wherever else they are named. Of less than 100
//     requests there is no p99, and of less than 1,000 no p99.9: none of them was above it.
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
// # At a set rate
//
// The workload paced makes calls at a set rate over the loopback interface, -link-rate of
// them a second beside the streams of -link-streams, for -paced-time each transport, in
// turns. Callers that wait for each answer before they make the next call, as above, find
// out how much is possible; they send less while something is slow, and so hardly
// notice it. Calls that are due whatever became of those before notice everything:
// what is slow for a second is slow for all who called in it.
//
// # Clusters
//
// The workload clusters starts clusters of -nodes nodes, each connected to all others, and
// says how long it takes from the start to where all are connected (mesh), and to where
// each has been told by all others that they have the same configuration (bootstrap);
// then how long it takes from the start of a node that was killed to where all others,
// which come back to it at once, have had an answer from it (restart), with the processor
// time of all nodes; and what memory and goroutines a connection has when nothing is
// done, before any call and a second after a burst of calls. That second is short:
// goroutines that wait for more work, and their stacks, stay for some seconds. Where a round
// takes several times as long as usual, no further one is begun.
//
// # Between two hosts
//
//	go run ./bench serve                                     # on one host
//	go run ./bench -connect HOST:7600 -key KEY               # on the other one
//
// measure the real path between them, with calls, streams, mixed and paced. The first
// prints the second command, with a key that is made for it unless -key names one; as
// -key @file it is what is in a file, where it is in no list of processes. Both ends
// prove to each other that they have the key: with certificates, where there is TLS, of an
// authority whose own key follows from it, and by an answer to a question of the other
// end over every transport. Why it refuses somebody, serve logs to standard error, and it
// answers one run at a time. Without TLS, what is sent can be read on the way; it is
// random bytes, or your -payload. websocket and QUIC are at the port that is named, by TCP
// and UDP, and wss at the next one. Processor time and allocations are those of the end
// that calls, and not of both.
//
// Before anything is measured the path is looked at over each transport, for some seconds: its
// round trip, and how much a stream carries each way. What takes too long for it, as 1 MiB there
// and back over 1 Mbit/s, is left out, with a line that says how long it takes, and which
// -duration has time for it. Every load needs some round trips, so that a long path has fewer of
// them too, and with -quick one from a few milliseconds on. The requests of bulk are smaller, and so
// is the load of paced, by steps of 1, 2 and 5, and for longer if it has to be; what -link-rate,
// -link-streams, -stream-rate or -paced-time name of it stays as it is, and paced is left out
// if that is more than the path carries. Windows are as long as it takes what
// is under way to get through, some times over, and so the usual half minute becomes up to
// two; -duration is kept to. The time that is said to be left is what the rounds before took. A
// path that becomes much slower in the meantime ends the measurement at its time.
//
// # Thresholds
//
//	go run ./bench -workloads links -link wan -threshold 'p99<300ms' -threshold 'failed<1%'
//
// exits with 1, and a line for each figure that did not keep to it: p50, p90, p99, p99.9 or
// max of latencies, rate of requests or messages per second, and failed, the share of calls
// at a set rate, of which failed<=0% allows none. calls:p99<5ms is about the lines of one workload. Percentiles are those of all
// calls of a line together, as in the tables: a slow second in one window breaks a threshold.
// Where calls are too few for a percentile, the table has none, and the slowest call has to keep
// to it. The rate is the one of the table. A threshold that nothing was measured for is not
// kept either, and one that nothing is going to be measured for is refused.
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
//     taken for a fast one. Calls that failed count as if they had taken the time-out of
//     10 s, and have a column if there are any; over what calls failed wins nothing.
//   - Streams have a message every 10 ms; what could not be sent in time is sent
//     later. Their column has what all of them sent: a transport that is short of their
//     rate did not carry the load.
//   - All transports run at the same time, each over a link of its own with the same
//     conditions and seed, so that what the machine does besides disturbs all alike. If it
//     has too much to do for the links to be in time, a warning says so.
//   - vs wss is the ratio of the p99, and where it is with a confidence of 99 %: by a
//     bootstrap of nine equal parts of the time, since what is slow is so for several calls
//     in a row, and around 1 unless a permutation test, which exchanges the parts of
//     the two, says that they differ: in how many calls are slow, or in that the p99 is lower in
//     each of the parts, by whatever factor, where the interval ends at the smallest one. A
//     transport wins over a link if its p99 is lower than that of all others by 5 %, and surely.
//   - The matrix has the ratio of the p99 for every round-trip time and loss.
//
// With loss, congestion control decides more than the transport does: that of TCP is
// the kernel's, that of QUIC is in quic-go, and both are named below the tables.
// -tcp-congestion chooses another one of the kernel's.
//
// # Compression
//
// This is what the workload compression is for: which codec to give a handler, for what
// it sends and the links that it sends over.
//
//	go run ./bench -workloads compression -compression-time 1m -speeds 1gbit,100mbit,10mbit
//	go run ./bench -workloads compression -payloads log,msgpack -payload-sizes 200,4KiB
//	go run ./bench -workloads compression -samples directory
//
// One node sends messages of each payload and size to the other, which answers with their
// length, with the defaults of core: as they are, with S2, with Zstd, and with either and
// a dictionary that was trained on other messages. There are as many callers as keep
// the processors busy, and it goes over websocket unless -transports leaves it out. The
// payloads are generated: JSON documents, lines of a log, records in MessagePack, JPEG
// files, and random bytes. With -samples they are those in the files of a directory, a
// message each, or with -lines in each line: a dictionary is trained on one half, and the
// other half is sent.
//
//   - left: how many bytes a call takes on the link to the handler, in parts of what it
//     takes without compression, frames included.
//   - below: the speed of a link, in Mbit/s, below which there are more calls a second
//     than without. It is computed: over a slower link as many calls are possible as
//     fit through it, and never more than the processors of this machine can do, so the gain
//     ends where a link carries as many plain messages as can be compressed; packets
//     have 1,500 bytes for 1,448 of TCP. "any" means that compressed messages are surely faster
//     even without a link, "none" that they do not get smaller. The verdict says where that
//     speed is with a confidence of 99 %: with the few windows of a usual run that is a wide
//     range, and -compression-time makes it narrower.
//   - The fastest over a link is computed in the same way; a codec that costs more has to
//     be ahead by 3 %, and surely.
//   - The messages of the first payload that have about 16 KiB are also sent over emulated
//     links of the -speeds, which shows what the computation is worth. Links are emulated by
//     the same processors, so over those of a gigabit they may have too much to do; a
//     warning says so.
//
// Both nodes share the processors of this machine, and these do nothing else. Two
// machines of this sort that are idle otherwise would have up to twice the speeds.
//
// # Dictionaries
//
//	go run ./bench -train orders.dict directory
//	go run ./bench -train logs.dict -lines -dictionary-size 16KiB service.log
//
// make a dictionary of samples, each file or with -lines each line one, and tell what it
// leaves of every tenth sample, on which it is not trained. What they write is what
// compress.ParseDictionary reads. Hidden files do not count. Samples are messages as a
// handler gets them: a few lines around one keep its requests, as recorded in
// bench/record.go does. To see how it goes with generated ones,
//
//	go run ./bench -record directory
//
// keeps a thousand requests of each payload there.
//
// # Where links work
//
// Links need Linux, and either root or a user who may make user namespaces, and who
// can open /dev/net/tun. Elsewhere they are left out, and a line says what was refused.
// With -shaping this process delays and slows down what it writes to the loopback
// interface instead, anywhere. TCP knows nothing of that: there are no packets that could be
// lost, overtake others or be too large, and -shaping refuses links with any of
// this, for their figures would be a lie.
package main
