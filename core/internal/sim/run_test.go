package sim_test

import (
	"testing"
	"testing/cryptotest"
	"testing/synctest"
)

// outcome is what became of one run.
type outcome struct {
	violations []violation
	hash       string
	calls      int
	trace      *trace
}

// run plays one seed: the whole schedule, or the events of it with the given
// indexes. What a run leaves behind in case of a violation may disturb later
// ones in the same process.
func run(t *testing.T, p *profile, events []*event, verbose bool) (out outcome) {
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, p.seed)
		w := newWorld(p, verbose)
		w.play(events)
		w.finish()
		out = outcome{w.violations, w.trace.hash(), w.ledger.Counts().Calls, w.trace}
	})
	return out
}
