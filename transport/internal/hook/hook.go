// Package hook calls the functions that users set in the options of a transport to
// take part in dialling. A dial is on a goroutine on which there is no code of the
// user's that could recover a panic, so one there would end the process, and the core
// waits for that goroutine, so runtime.Goexit there would leave the peer without a
// dial, and a function that ignores its context, or closes the Manager, would keep
// Close from returning. Here each becomes an error, which names the function.
package hook

import (
	"context"
	"fmt"
)

// Call calls f, and returns what it returns, or that it panicked, or called
// runtime.Goexit, which t.FailNow does, or has not returned when ctx ends; what it
// returns after that is given to late, unless that is nil. name is what the user knows
// f by. f runs on a goroutine of its own, since nothing else outlives Goexit: a dial
// takes far longer.
func Call[T any](ctx context.Context, name string, f func() (T, error), late func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result)
	go func() {
		r := result{err: fmt.Errorf("%s did not return, but called runtime.Goexit", name)}
		defer func() {
			if v := recover(); v != nil {
				r.err = fmt.Errorf("%s panicked: %v", name, v)
			}
			select {
			case done <- r:
			case <-ctx.Done():
				if r.err == nil && late != nil {
					late(r.value)
				}
			}
		}()
		r.value, r.err = f()
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%s: %w", name, context.Cause(ctx))
	}
}
