// Package bootstrap is a recipe: a node of a cluster serves only when it has seen
// that enough others have the same configuration. Copy bootstrap.go into your
// program, and put what has to be equal into the digest: the list of nodes and
// disks, sharding, versions of formats, hashes of secrets.
//
// A node registers [Serve] and starts its Manager, and then [Agree] asks every
// peer until a quorum agrees. Who differs, and how, is logged, and stands in the
// error if the quorum does not come about in time. Peers that are not there yet
// are waited for, and those that differ are asked again: somebody may be mending
// them.
package bootstrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/gridmux/gridmux/core"
)

const handler core.HandlerID = "bootstrap.digest"

// Digest is what nodes compare: a digest of settings, by name.
func Digest(settings map[string]string) []byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(h, "%q=%q\n", name, settings[name])
	}
	return h.Sum(nil)
}

// Serve makes the node tell its digest to those that ask. Call it before
// Manager.Start.
func Serve(m *core.Manager, digest []byte) error {
	return m.HandleAppend(handler, func(_ context.Context, _, dst []byte) ([]byte, error) {
		return append(dst, digest...), nil
	}, core.WithInline())
}

// DifferentError is what [Agree] says of a peer that has another configuration.
type DifferentError struct{ Theirs, Ours []byte }

func (e *DifferentError) Error() string {
	return fmt.Sprintf("its configuration is %.4x, ours is %.4x", e.Theirs, e.Ours)
}

// Agree asks all peers for their digests and returns nil as soon as quorum nodes,
// this one counted, have the same one. It asks again, every second or so, those
// that differ, and waits for those that are not there. When ctx ends the error is
// a *core.QuorumError that names whoever does not agree and says why.
func Agree(ctx context.Context, m *core.Manager, digest []byte, quorum int, log *slog.Logger) error {
	if quorum <= 1 {
		return nil // this node agrees with itself
	}
	_, err := core.Quorum(ctx, m.Connections(), quorum-1, func(ctx context.Context, c *core.Connection) (struct{}, error) {
		return struct{}{}, askUntilEqual(ctx, c, digest, log)
	})
	return err
}

// askUntilEqual returns nil when the peer has the digest, and else, when ctx ends,
// what was last known of it.
func askUntilEqual(ctx context.Context, c *core.Connection, digest []byte, log *slog.Logger) error {
	var last error
	for {
		theirs, err := c.Request(ctx, handler, nil, core.WaitForConnection())
		switch {
		case err == nil && bytes.Equal(theirs, digest):
			return nil
		case err == nil:
			different := &DifferentError{Theirs: theirs, Ours: digest}
			if last == nil || last.Error() != different.Error() {
				log.WarnContext(ctx, "a peer has another configuration", "peer", c.Peer(), "error", different)
			}
			last = different
		case ctx.Err() == nil || last == nil:
			last = err // of the peer; or that it was never reached
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return last
		}
	}
}
