package coretest

import (
	"errors"
	"fmt"

	"github.com/gridmux/gridmux/core"
)

// maxViolations bounds what [Ledger.Check] tells in full.
const maxViolations = 20

// Check compares what callers were told with what handlers did, and returns
// every contradiction:
//
//   - I1: a call returns exactly once. Check is called when all have.
//   - I2: the outcome says whether the handler ran. It never ran for
//     core.OutcomeNotSent and core.OutcomeRefused; it did for a success and for
//     core.OutcomeRemote. A handler that returns core.Refuse does so ahead of
//     [Ledger.Serve].
//   - I3: a handler runs at most once per call.
//   - I4: a response, an error and a request belong to their call and are
//     unchanged.
//
// Handlers may still be running, or not have begun; call it after the nodes
// were closed to be sure that nothing follows.
func (l *Ledger) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var problems []error
	total := 0
	report := func(format string, args ...any) {
		total++
		if total <= maxViolations {
			problems = append(problems, fmt.Errorf("coretest: "+format, args...))
		}
	}
	for _, lie := range l.lies {
		report("%s", lie)
	}
	for _, c := range l.calls {
		c.check(report)
	}
	if total > maxViolations {
		problems = append(problems, fmt.Errorf("coretest: %d more violations", total-maxViolations))
	}
	return errors.Join(problems...)
}

func (c *Call) check(report func(format string, args ...any)) {
	switch {
	case c.returned == 0:
		report("%v: I1: it never returned", c)
	case c.returned > 1:
		report("%v: I1: it returned %d times", c, c.returned)
	}
	if c.started > 1 {
		report("%v: I3: its handler ran %d times", c, c.started)
	}
	if c.returned == 0 {
		return
	}
	must, mustNot := c.err == nil, false
	if c.err != nil {
		must = c.outcome == core.OutcomeRemote
		mustNot = c.outcome == core.OutcomeNotSent || c.outcome == core.OutcomeRefused
	}
	switch {
	case must && c.started == 0:
		report("%v: I2: its handler never ran, and it returned %q", c, c.verdict())
	case mustNot && c.started > 0:
		report("%v: I2: its handler ran, and it returned %q", c, c.verdict())
	}
}

func (c *Call) verdict() string {
	if c.err == nil {
		return "success"
	}
	return c.err.Error()
}

// Counts sums a [Ledger] up.
type Counts struct {
	Calls   int // that were begun
	Running int // handlers that run now
	Started int // calls whose handler was started

	// Calls that have returned, by what their callers were told.
	OK, NotSent, Refused, MaybeRun, Remote int
}

// Counts returns the numbers as of now.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := Counts{Calls: len(l.calls), Running: l.running}
	for _, c := range l.calls {
		if c.started > 0 {
			n.Started++
		}
		if c.returned == 0 {
			continue
		}
		switch {
		case c.err == nil:
			n.OK++
		case c.outcome == core.OutcomeNotSent:
			n.NotSent++
		case c.outcome == core.OutcomeRefused:
			n.Refused++
		case c.outcome == core.OutcomeRemote:
			n.Remote++
		default:
			n.MaybeRun++
		}
	}
	return n
}
