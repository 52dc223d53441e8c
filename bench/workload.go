package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gridmux/gridmux/core"
)

// callTimeout is the deadline of a measured call. It is there because calls
// should have one, and so that a call that hangs is reported.
const callTimeout = 10 * time.Second

// echoLoad is what is measured: requests that are answered with themselves.
type echoLoad struct {
	payload []byte
	options []core.CallOption // built once, so that no call allocates for them
}

func newEchoLoad(size int) *echoLoad {
	e := &echoLoad{payload: make([]byte, size), options: []core.CallOption{core.WithTimeout(callTimeout)}}
	// Random, so that nothing gains by compressing it, and the same every time.
	_, _ = rand.NewChaCha8([32]byte{}).Read(e.payload)
	return e
}

// about describes the load in a sentence without its full stop.
func (e *echoLoad) about() string {
	return fmt.Sprintf("AppendRequest to a HandleAppend handler, which echoes %d B. Each caller has a cancellable context, "+
		"and all share one option WithTimeout(%v), so that every call carries a deadline", len(e.payload), callTimeout)
}

// caller returns what one caller does over and over. It is not for several
// goroutines at once.
func (e *echoLoad) caller(c *core.Connection) func(context.Context) error {
	buf := make([]byte, 0, len(e.payload))
	checked := false
	return func(ctx context.Context) error {
		answer, err := c.AppendRequest(ctx, echoID, e.payload, buf[:0], e.options...)
		if err != nil {
			return err
		}
		// Comparing every answer would be a part of what is measured.
		if len(answer) != len(e.payload) || !checked && !bytes.Equal(answer, e.payload) {
			return errWrongAnswer
		}
		checked = true
		return nil
	}
}
