package main

import (
	"fmt"
	"slices"
	"strings"
)

// mutant is a bug that is planted in one place of the code.
type mutant struct {
	name string
	why  string // what it does, and what is wrong with that
	file string // below the root of the module
	old  string // occurs once in the file
	new  string
	// over is the transport that it shows over; empty: inmem.
	over string
	// seeds find it, of the ten thousand first ones; the fastest leads. Only bugs
	// have them that hide from most.
	seeds []uint64
}

// apply returns the text of the file with the bug in it. What is below is on the lines
// that it was on, if there is room: packages that import this one know them.
func (m *mutant) apply(text string) (string, error) {
	if n := strings.Count(text, m.old); n != 1 {
		return "", fmt.Errorf("%s: the text to replace occurs %d times in %s, want once: adapt it to the code", m.name, n, m.file)
	}
	before, after, _ := strings.Cut(text, m.old)
	if before += m.new; !strings.HasSuffix(before, "\n") {
		line, rest, _ := strings.Cut(after, "\n")
		before, after = before+line+"\n", rest
	}
	gap := max(0, strings.Count(m.old, "\n")-strings.Count(m.new, "\n"))
	return before + strings.Repeat("\n", gap) + after, nil
}

// mutants are the planted bugs, each of a kind that a change of the code could
// bring about.
var mutants = slices.Concat(callMutants, streamMutants, laneMutants, moveMutants, compressionMutants, transportMutants)

// callMutants are in calls, sessions, and what surrounds them.
var callMutants = []mutant{
	// Calls.
	{
		name: "stale-answer",
		why:  "an answer is delivered to whoever has the slot, without a look at the generation",
		file: "core/table.go",
		old:  "if !sl.pending || sl.generation != id.Generation() {",
		new:  "if !sl.pending {",
	},
	{
		name: "token-left",
		why:  "a slot is put back before its token was taken, which then completes the next call",
		file: "core/call.go",
		old:  "\t// Whoever claimed the call is about to complete it; none of them waits for\n\t// anything.\n\t<-sl.token\n",
		new:  "",
	},
	{
		name: "left-to-the-timer",
		why:  "the end of a session leaves calls that have a time-out to the timer, which ends too",
		file: "core/table.go",
		old:  "\t\tif sl.pending {\n\t\t\tsl.pending = false\n\t\t\tover = append(over, sl)\n",
		new:  "\t\tif sl.pending && sl.deadline == 0 {\n\t\t\tsl.pending = false\n\t\t\tover = append(over, sl)\n",
	},
	{
		name: "moved-to-the-next-session",
		why:  "a call that waits for connections is repeated on the next session even if it may have run on the last",
		file: "core/request.go",
		old:  "return res.outcome == OutcomeNotSent && (set.wait || s.replaced()) && ctx.Err() == nil &&",
		new:  "return (set.wait || s.replaced()) && ctx.Err() == nil &&",
	},
	{
		name: "refused-maybe-run",
		why:  "a refusal of the peer is told as if the handler might have run",
		file: "core/call.go",
		old:  "outcome, err := OutcomeRefused, refusedError(st)",
		new:  "outcome, err := OutcomeMaybeRun, refusedError(st)",
	},
	{
		name: "cancel-ignored",
		why:  "a RESET forgets a request in parts but does not end a handler that runs",
		file: "core/arrival.go",
		old:  "\ts.giveUp(c, why)\n\treturn nil\n}",
		new:  "\t_ = why\n\ts.dropPartial(c)\n\treturn nil\n}",
	},
	{
		name: "one-too-many",
		why:  "the limit on handlers of a peer is off by one",
		file: "core/arrival.go",
		old:  "int(n) > s.m.cfg.MaxHandlers {",
		new:  "int(n) > s.m.cfg.MaxHandlers+1 {",
	},
	{
		name: "reservation-kept",
		why:  "a request of which the last part never came keeps its memory reserved",
		file: "core/arrival.go",
		old:  "\t\tif !a.drop() {\n\t\t\ts.release()\n\t\t}\n",
		new:  "\t\ts.release()\n",
	},

	// The writer.
	{
		name: "retract-without-padding",
		why:  "a call that is given up in the queue says that it was not sent, and is written all the same",
		file: "core/writerequest.go",
		old:  "wire.Pad(b.buf[sl.sent.offset:])",
		new:  "_ = b",
	},
	{
		name: "not-sent-though-taken",
		why:  "a large request counts as not sent as long as its last part was not copied",
		file: "core/bulk.go",
		old:  "\tb.dropped, b.data = true, nil\n\treturn !b.begun\n",
		new:  "\tunsent = b.off < len(b.data)\n\tb.dropped, b.data = true, nil\n\treturn unsent\n",
	},
	{
		name: "deadline-as-timeout",
		why:  "the time-out of a large request counts from when the node was started",
		file: "core/bulk.go",
		old:  "timeout = wire.Micros(time.Duration(b.deadline - now))",
		new:  "timeout = wire.Micros(time.Duration(b.deadline))",
	},

	// Sessions.
	{
		name: "dead-session-stays",
		why:  "a session that has ended stays the current one",
		file: "core/succession.go",
		old:  "\tcase c.current.Load():\n\t\tc.lostLocked(s, err)\n",
		new:  "\tcase c.current.Load():\n\t\tc.lostLocked(s, err)\n\t\tc.current.Store(s)\n",
	},
	{
		name: "handlers-outlive-session",
		why:  "the contexts of handlers do not end with the session of their callers",
		file: "core/session.go",
		old:  "\ts.in.cancel(lost)\n",
		new:  "",
	},
	{
		name: "newcomer-wins",
		why:  "a second process with a peer's name takes the place of the first without its being asked",
		file: "core/succession.go",
		old:  "case !s.lives(ctx):",
		new:  "case s.instance != newcomer.instance || !s.lives(ctx):",
	},
	{
		name:  "silent-session-defended",
		why:   "a session that does not answer keeps out the connection that would replace it",
		file:  "core/succession.go",
		old:   "\t\treturn s.alive.reads.Load() != reads\n",
		new:   "\t\treturn s.alive.reads.Load() >= reads\n",
		seeds: []uint64{5344},
	},
	{
		name: "turn-not-taken",
		why:  "of two nodes that dial each other at once neither holds the other's connection",
		file: "core/connection.go",
		old:  "decides: m.cfg.Local.Name < n.Name,",
		new:  "decides: false,",
	},
	{
		name:  "nobody-assists",
		why:   "the node that is not the first to dial never does",
		file:  "core/dial.go",
		old:   "\t\tleast = assistAfter\n",
		new:   "\t\tleast = assistAfter << 12\n",
		seeds: []uint64{481, 1151, 1639},
	},

	// GOAWAY.
	{
		name: "no-fence",
		why:  "a node that shuts down does not wait until its peers know",
		file: "core/session.go",
		old:  "s.fenced() && s.busy.Load() == 0 && s.quietLanes() && s.delivered()",
		new:  "s.busy.Load() == 0 && s.quietLanes() && s.w.flushed()",
	},
	{
		name:  "queue-not-recalled",
		why:   "requests that wait to be written when GOAWAY arrives are sent to a node that is leaving",
		file:  "core/session.go",
		old:   "range s.w.recall() {",
		new:   "range []wire.CallID(nil) {",
		seeds: []uint64{347, 381, 393},
	},
	{
		name:  "calls-into-the-void",
		why:   "a node goes on calling a peer that has said GOAWAY",
		file:  "core/session.go",
		old:   "\ts.goaway.Store(true)\n",
		new:   "\tif true {\n\t\treturn\n\t}\n\ts.goaway.Store(true)\n",
		seeds: []uint64{83, 110, 158},
	},
	{
		name:  "removed-at-once",
		why:   "a peer that is struck off the list loses its calls in progress",
		file:  "core/succession.go",
		old:   "\tc.leaveSessions(all, \"the node is not among the peers any more\")\n",
		new:   "\tfor _, s := range all {\n\t\ts.end(errLeft, wire.CodeShutdown)\n\t}\n",
		seeds: []uint64{54},
	},
	{
		name: "parts-not-counted",
		why:  "a shut-down does not wait for a request of which parts are still to come",
		file: "core/session.go",
		old:  "s.fenced() && s.busy.Load() == 0 && s.quietLanes()",
		new:  "s.fenced() && s.busy.Load() <= 1 && s.quietLanes()",
	},
	{
		name: "closed-before-it-is-read",
		why:  "a shut-down does not wait until the peer has read the last answers",
		file: "core/session.go",
		old:  "return ok && s.probes.answered.Load() >= ping",
		new:  "_ = ping\n\treturn ok",
	},
	{
		name: "impatient-with-handlers",
		why:  "a session that is to end does so while a handler runs for longer than a peer may take",
		file: "core/debt.go",
		old:  "case !alone, s.quiet():",
		new:  "case !alone && s.quiet():",
	},
}
