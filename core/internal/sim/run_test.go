package sim_test

import (
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

// outcome is what became of one run.
type outcome struct {
	violations int
	hash       string
	calls      int
	trace      *trace
	witnesses  map[int]time.Duration // how long each took, by its event
}

// run plays one seed with the given events of its schedule. tell is given every
// violation. What a run leaves behind in case of one may disturb later runs in
// the same process.
func run(t *testing.T, p *profile, events []*event, verbose bool, tell func(violation)) (out outcome) {
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, p.seed)
		w := newWorld(p, verbose, tell)
		w.play(events)
		w.finish()
		out = outcome{w.violations, w.trace.hash(), w.ledger.Counts().Calls, w.trace, w.witnesses}
	})
	return out
}
