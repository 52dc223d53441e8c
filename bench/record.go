package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d", n)), req, 0o600); err != nil {
				return dst, err
			}
		}
		return handler(ctx, req, dst)
	}
}

const (
	// recordCount is how many messages of each payload are recorded.
	recordCount = 1000
	recordID    = core.HandlerID("bench.record")
)

// errNotRecorded says that it was not the files that failed.
var errNotRecorded = errors.New("recording")

// record sends generated records from one node to another and keeps them, each payload in
// a directory of its own.
func (p program) record(ctx context.Context, dir string, payloads []string) error {
	for _, name := range payloads {
		to := filepath.Join(dir, name)
		if err := recordPayload(ctx, name, to); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		kept, err := os.ReadDir(to)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s has %s.\n", to, plural(len(kept), "sample"))
	}
	return nil
}

func recordPayload(ctx context.Context, name, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	switch old, err := os.ReadDir(dir); {
	case err != nil:
		return err
	case len(old) > 0:
		return fmt.Errorf("%s has files already: name a new directory", dir)
	}
	c, err := openCluster(ctx, kinds()[0].open(onLoopback), []string{"a", "b"}, nil, func(m *core.Manager) error {
		take := func(_ context.Context, _, dst []byte) ([]byte, error) { return dst, nil }
		return m.HandleAppend(recordID, recorded(take, dir, recordCount))
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errNotRecorded, err)
	}
	defer c.close()
	for _, m := range generated(name).train[:recordCount] {
		if _, err := c.connection("b").Request(ctx, recordID, m); err != nil {
			return fmt.Errorf("%w: %w", errNotRecorded, err)
		}
	}
	return nil
}
