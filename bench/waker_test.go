package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestWaker expects a goroutine to sleep until its instant, not at all for one that is over, and
// not any longer when the run is interrupted or something failed.
func TestWaker(t *testing.T) {
	w := newWaker()
	defer w.close()
	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond, 3 * time.Millisecond, 3 * time.Millisecond, 30 * time.Millisecond} {
		until := time.Now().Add(d)
		if err := w.wait(t.Context(), until, nil); err != nil {
			t.Fatal(err)
		}
		if early := time.Until(until); early > 0 {
			t.Errorf("it woke %v early after %v", early, d)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if err := w.wait(ctx, time.Now().Add(time.Hour), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	failed := make(chan error, 1)
	failed <- errBroken
	if err := w.wait(t.Context(), time.Now().Add(time.Hour), failed); !errors.Is(err, errBroken) {
		t.Errorf("something failed: %v", err)
	}
}
