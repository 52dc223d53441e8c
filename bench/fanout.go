package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/gridmux/gridmux/core"
)

// fanoutLoads are a request to several nodes at once, which is done when all of them
// have answered.
func fanoutLoads(opts options) (all []load) {
	f := fanoutLoad{payload: opts.content(), options: []core.CallOption{core.WithTimeout(callTimeout)}}
	for _, n := range opts.fanout {
		all = append(all, load{
			table: fanout, name: "fan-out", title: "to " + plural(n, "peer"), atOnce: 1, called: n, size: opts.size, each: 1,
			tasks: func(to []*core.Connection) tasks { return tasks{measured: []task{f.caller(to)}} },
		})
	}
	return all
}

// fanoutLoad makes callers.
type fanoutLoad struct {
	payload func() []byte
	options []core.CallOption
}

// aboutFanout describes the load in a sentence without its full stop.
func aboutFanout(size int) string {
	return fmt.Sprintf("one caller that sends a request of %d B to several nodes at once, by Each, and the next "+
		"when the last of them has echoed it", size)
}

// caller returns what one caller does.
func (f *fanoutLoad) caller(to []*core.Connection) task {
	payload := f.payload()
	checked := false
	ask := func(ctx context.Context, c *core.Connection) ([]byte, error) {
		return c.Request(ctx, echoID, payload, f.options...)
	}
	return func(ctx context.Context) (step func() error, end func(), err error) {
		return func() error {
			answered := 0
			for answer, err := range core.Each(ctx, slices.Values(to), ask) {
				switch {
				case err != nil:
					return err
				case len(answer.Value) != len(payload) || !checked && !bytes.Equal(answer.Value, payload):
					return errWrongAnswer
				}
				answered++
			}
			if answered != len(to) {
				return errWrongAnswer
			}
			checked = true
			return nil
		}, func() {}, nil
	}
}
