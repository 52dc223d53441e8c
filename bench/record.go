package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/core"
)

// appendHandler is what [core.Manager.HandleAppend] takes.
type appendHandler = func(ctx context.Context, req, dst []byte) ([]byte, error)

// recorded returns a handler that does what another one does, and keeps the first requests
// that it gets, each in a file, as samples for a dictionary. Any program may do the like
// with its own handlers, for an hour, on one node.
func recorded(handler appendHandler, dir string, most int64) appendHandler {
	var seen atomic.Int64
	return func(ctx context.Context, req, dst []byte) ([]byte, error) {
		if n := seen.Add(1); n <= most {
			if err := os.WriteFile(filepath.Join(dir, recordName(n)), req, 0o600); err != nil {
				return dst, err
			}
		}
		return handler(ctx, req, dst)
	}
}

// recordName is the file of a sample.
func recordName(n int64) string { return fmt.Sprintf("%06d", n) }

const (
	// recordCount is how many messages of each payload are recorded.
	recordCount = 1000
	recordID    = core.HandlerID("bench.record")
)

// errNotRecorded says that it was not the files that failed.
var errNotRecorded = errors.New("recording")

// record sends generated records from one node to another and keeps them, each payload in
// a directory of its own. If it fails or ctx ends it leaves nothing of what it has written.
func (p program) record(ctx context.Context, dir string, payloads []string) error {
	var made []newDir
	err := p.recordAll(ctx, dir, payloads, &made)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		return nil
	}
	for _, d := range slices.Backward(made) {
		for n := range recordCount {
			_ = os.Remove(filepath.Join(d.name, recordName(int64(n)+1))) // or it was not written
		}
		d.abandon()
	}
	return err
}

// recordAll records, and notes the directories that are for its samples alone.
func (p program) recordAll(ctx context.Context, dir string, payloads []string, made *[]newDir) error {
	for _, name := range payloads {
		to, err := makeDir(filepath.Join(dir, name))
		if err == nil {
			err = empty(to.name)
		}
		if err == nil {
			*made = append(*made, to)
			err = recordPayload(ctx, name, to.name)
		} else {
			to.abandon()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		kept, err := os.ReadDir(to.name)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s has %s.\n", to.name, plural(len(kept), "sample"))
	}
	return nil
}

// empty fails for a directory with files.
func empty(dir string) error {
	old, err := os.ReadDir(dir)
	if err == nil && len(old) > 0 {
		err = fmt.Errorf("%s has files already: name a new directory", dir)
	}
	return err
}

func recordPayload(ctx context.Context, name, dir string) error {
	var mu sync.Mutex // guards over; held while a sample is written
	over := false
	keep := recorded(func(_ context.Context, _, dst []byte) ([]byte, error) { return dst, nil }, dir, recordCount)
	c, err := openCluster(ctx, kinds()[0].open(onLoopback), []string{"a", "b"}, nil, func(m *core.Manager) error {
		return m.HandleAppend(recordID, func(ctx context.Context, req, dst []byte) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			if over {
				return dst, errNotRecorded
			}
			return keep(ctx, req, dst)
		})
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errNotRecorded, err)
	}
	defer func() {
		c.end(ctx) // which does not wait for handlers
		mu.Lock()
		over = true // and what is removed after an interrupt is not written once more
		mu.Unlock()
	}()
	for _, m := range generated(name).train[:recordCount] {
		if _, err := c.connection("b").Request(ctx, recordID, m); err != nil {
			return fmt.Errorf("%w: %w", errNotRecorded, err)
		}
	}
	return nil
}
