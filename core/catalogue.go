package core

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// builtinPrefix begins the ids of handlers that belong to the library.
const builtinPrefix = "gridmux."

// catalogueID is the handler that answers with the catalogue of its node (W54).
const catalogueID HandlerID = builtinPrefix + "catalogue"

// catalogueEntry is the size of one handler in a catalogue: hash and kind.
const catalogueEntry = 9

// kindSingle is the kind of a handler of single requests.
const kindSingle byte = 1

// catalogue is which handlers a peer has.
type catalogue struct {
	digest [wire.DigestSize]byte
	hashes map[uint64]struct{}
}

// addBuiltin registers the handlers that every node has.
func (r *registry) addBuiltin() error {
	return r.add(&handler{id: catalogueID, inline: true, app: func(_ context.Context, _, dst []byte) ([]byte, error) {
		return r.appendCatalogue(dst), nil
	}})
}

// appendCatalogue appends the entries of the user's handlers, in the order of
// their hashes.
func (r *registry) appendCatalogue(dst []byte) []byte {
	for _, hash := range slices.Sorted(maps.Keys(r.byHash)) {
		if !strings.HasPrefix(string(r.byHash[hash].id), builtinPrefix) {
			dst = append(binary.LittleEndian.AppendUint64(dst, hash), kindSingle)
		}
	}
	return dst
}

// digest is the fingerprint of the catalogue.
func (r *registry) digest() [wire.DigestSize]byte { return sha256.Sum256(r.appendCatalogue(nil)) }

func parseCatalogue(b []byte) (*catalogue, error) {
	if len(b)%catalogueEntry != 0 {
		return nil, fmt.Errorf("a catalogue of %d bytes", len(b))
	}
	c := &catalogue{digest: sha256.Sum256(b), hashes: make(map[uint64]struct{}, len(b)/catalogueEntry)}
	for ; len(b) > 0; b = b[catalogueEntry:] {
		c.hashes[binary.LittleEndian.Uint64(b)] = struct{}{}
	}
	return c, nil
}

// Handles reports whether the peer has a handler h, so that a program can find
// out when it starts, and not at the first call, that the other side forgot to
// register one or is too old to have it. It asks the peer at most once as long
// as its handlers are the same. The options are those of a call.
//
// The answer is advice: between it and a call the peer may have been replaced.
func (c *Connection) Handles(ctx context.Context, h HandlerID, opts ...CallOption) (bool, error) {
	return c.handles(ctx, handlerKey{id: h}, opts)
}

// Handles is [Connection.Handles] on the route.
func (r Route) Handles(ctx context.Context, h HandlerID, opts ...CallOption) (bool, error) {
	return r.c.handles(ctx, handlerKey{h, r.name}, opts)
}

func (c *Connection) handles(ctx context.Context, key handlerKey, opts []CallOption) (bool, error) {
	if c = c.resolve(); c != nil {
		if s := c.current.Load(); s != nil {
			if known := c.catalogue.Load(); known != nil && known.digest == s.catalogue {
				return known.has(key), nil
			}
		}
	}
	b, err := c.request(ctx, handlerKey{id: catalogueID}, nil, nil, opts)
	if err != nil {
		return false, err
	}
	known, err := parseCatalogue(b)
	if err != nil {
		return false, &CallError{Peer: c.Peer(), Handler: catalogueID, Err: err}
	}
	c.catalogue.Store(known)
	return known.has(key), nil
}

func (c *catalogue) has(key handlerKey) bool {
	_, ok := c.hashes[key.hash()]
	return ok
}
