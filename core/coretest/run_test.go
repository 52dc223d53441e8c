package coretest_test

import (
	"context"
	"testing"
)

// exampleTB stands for the T of a test that an example shows.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (e *exampleTB) Helper()                  {}
func (e *exampleTB) Context() context.Context { return context.Background() }
func (e *exampleTB) Cleanup(f func())         { e.cleanups = append(e.cleanups, f) }

// run runs a test that an example shows.
func run(test func(testing.TB)) {
	e := &exampleTB{}
	test(e)
	for _, f := range e.cleanups {
		f()
	}
}
