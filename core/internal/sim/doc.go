// Package sim has no code but tests: the simulation of whole clusters. Real
// Managers, three to seven of them, live over the network of transport/inmem in
// a bubble of testing/synctest. A seed stands for everything else: how many they
// are, over what links, with what limits, what users do, and what goes wrong.
//
//	go test ./core/internal/sim                          # 200 seeds
//	go test ./core/internal/sim -seeds 10000 -replay 0.1 # many, and a tenth of them again
//	go test ./core/internal/sim -v -seed 4711            # one, and all that happens in it
//	go test ./core/internal/sim -transport quic -seeds 300 # not in memory, but over QUIC
//	go run ./core/internal/sim/mutants                   # does it find bugs that are planted?
//
// A seed that fails is reported with its profile, with the fewest events of its
// schedule that still make it fail, and with the command that shows it.
//
// # How a run goes
//
// From the seed come a profile (profile_test.go) and a schedule of events
// (schedule_test.go), before anything runs. One goroutine, the driver, carries
// the events out (world_test.go), each at an instant of its own, and has
// everybody come to rest after each. When the schedule is over all faults end,
// and the nodes have to find each other, to answer, and to close without a trace
// (end_test.go).
//
// Each seed enables a subset of the operations and faults, at rates of its own.
// So combinations come about that would drown if everything happened at once.
//
// # Transports
//
// With -transport the same profiles, schedules, operations and checkers run over
// websocket, with and without TLS, on the simulated sockets of internal/memnet, and
// over QUIC on the simulated datagrams of internal/packetnet. A normal test has a few
// seeds over each; -seed shows one. The table carriers (carrier_test.go) says what
// each fault is there: sockets are held, delayed and reset, and datagrams get lost,
// arrive twice, late and spoilt. Two faults that datagrams cannot have are left out of
// schedules over QUIC. With quic-wss most nodes have both, and fall back from one to the
// other. What checkers allow for, such as the time that a goodbye takes,
// stands in the same table; all else is held as strictly as in memory, to the
// nanosecond where that is promised to the caller. sockets_test.go and
// datagrams_test.go are the networks, network_test.go what they are asked for.
//
// There the seeds are not compared with replays: much happens in one instant, and its
// order is the scheduler's.
//
// # What is held
//
// The numbers are those of DESIGN.md. The ledger of core/coretest holds I1 to I4
// (once, the truth about the outcome, at most once, no cross-talk).
// check_calls_test.go holds I6 (deadlines and cancellation, to the nanosecond at
// the caller), I15 (progress), and that no call is lost between nodes that are
// well, nor by one that is shut down; check_talks_test.go the same of streams, and
// I5: each direction brings a prefix of what was sent, in order, unchanged, and a
// clean end, or the answer of the handler, comes behind all of it. check_books_test.go
// holds I7 (credit and windows, at both ends of every stream) and that nothing is
// held at the end; it reads core/internal/audit. check_state_test.go holds I10,
// I11 and I13 (connected when they have to be, without flapping, and reported
// truly); check_bounds_test.go I8; end_test.go I9 and I10; witness_test.go I12
// (trouble between two nodes changes nothing for others). I14, no panic, is held
// by running seeds in child processes.
//
// In a quarter of the seeds over inmem nodes have two transports (prefer_test.go),
// and move from one to the other while all of this is held.
//
// In some of the seeds that have little memory for large messages, two nodes echo such
// messages to each other, both ways at once (talkecho_test.go): each waits for what the
// other holds, and all of it has to go on (I15).
//
// What nodes owe each other depends on what was done to them: health_test.go
// keeps account of that. Two nodes are well if both run, nothing is wrong with
// the links between them, and both count the other as a peer. If that has
// lasted for MaxBackoff, a handshake and a second they are settled: they must be
// connected, may not lose the connection, and no call between them may fail.
//
// # Adding to it
//
// A new operation or fault is an entry of the table operations or faults, with a
// function that draws its particulars and one that carries it out. A fault that
// breaks something tells the health of the pair, and the table carriers what it is
// over each transport. A new checker looks in world.check, which runs whenever
// everybody is at rest, or where calls and handlers begin and end (call_test.go).
// What may happen to a stream, which the simulation calls a talk, is a field of
// talkSpec (talk_test.go). A new part of the library deserves bugs in the list of
// the command mutants too.
//
// # Replays
//
// Two runs of a seed do the same at the same instants, and the hash of the trace
// says so. synctest brings virtual time, but not an order among what happens in
// one instant, so hardly anything may: the network gives every arrival an
// instant of its own, times drawn for calls are odd, gaps between them even, and
// the time-outs of every node differ by nanoseconds. Children run on one
// processor without asynchronous preemption, and collect garbage between seeds.
// What happens within an instant is hashed in the order of the text. A few seeds
// are "loose": they have deadlines in the very instant of the response, and the
// like, and are not compared.
package sim
