package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/internal/msgpack"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// metadata is what travels beside the message that opens a call (W22). It is
// immutable.
type metadata struct {
	pairs []metadataPair // sorted by key
	block []byte         // as it travels
	err   error          // why it cannot
}

type metadataPair struct{ key, value string }

type metadataKey struct{}

// WithMetadata returns a context whose calls carry the pair to their handlers, of
// single requests and of streams alike, besides those that ctx carries already; a
// key that is there has its value replaced. All pairs of a call together may have
// 4 KiB, of which each pair takes up to 10 bytes; a call with more, or with an
// empty key, fails before anything is sent.
//
// What came with a call does not go on by itself with the calls that its handler
// makes: pass on what shall.
func WithMetadata(ctx context.Context, key, value string) context.Context {
	if ctx == nil {
		return nil // the call says so
	}
	next := new(metadata)
	if old := metadataOf(ctx); old != nil {
		next.pairs, next.err = slices.Clone(old.pairs), old.err
	}
	i, found := slices.BinarySearchFunc(next.pairs, key, func(p metadataPair, key string) int { return strings.Compare(p.key, key) })
	if found {
		next.pairs[i].value = value
	} else {
		next.pairs = slices.Insert(next.pairs, i, metadataPair{key, value})
	}
	if key == "" {
		next.err = errors.New("WithMetadata: the key is empty: name what the value is")
	}
	next.block = msgp.AppendMapHeader(nil, uint32(len(next.pairs)))
	for _, p := range next.pairs {
		next.block = msgp.AppendString(msgp.AppendString(next.block, p.key), p.value)
	}
	return context.WithValue(ctx, metadataKey{}, next)
}

// metadataOf returns what calls with ctx carry, or nil.
func metadataOf(ctx context.Context) *metadata {
	md, _ := ctx.Value(metadataKey{}).(*metadata)
	return md
}

// check refuses what cannot travel.
func (md *metadata) check() error {
	switch {
	case md == nil:
		return nil
	case md.err != nil:
		return md.err
	case len(md.block) > wire.MaxMetadata:
		return fmt.Errorf("%w: %d bytes of metadata, limit %d: put what is large into the message",
			ErrMessageTooLarge, len(md.block), wire.MaxMetadata)
	}
	return nil
}

// bytes is the block as it travels, nil without any.
func (md *metadata) bytes() []byte {
	if md == nil {
		return nil
	}
	return md.block
}

// receivedMetadata is the block that came with a call.
type receivedMetadata struct{ block []byte }

// MetadataFromContext returns the value that the caller gave key with
// [WithMetadata], inside a handler and what surrounds it, and "" if it gave none.
// ctx may be derived from the handler's.
func MetadataFromContext(ctx context.Context, key string) string {
	c := callContextOf(ctx)
	if c == nil || c.meta == nil {
		return ""
	}
	value := ""
	_ = eachPair(c.meta.block, func(k, v []byte) {
		if string(k) == key {
			value = string(v)
		}
	})
	return value
}

// receiveMetadata checks the block that came with a call, and copies it. nil is
// none.
func receiveMetadata(block []byte) (md *receivedMetadata, err error) {
	if block == nil {
		return md, nil
	}
	var seen map[string]struct{}
	twice := false
	err = eachPair(block, func(k, _ []byte) {
		if seen == nil {
			seen = map[string]struct{}{}
		}
		if _, ok := seen[string(k)]; ok {
			twice = true
		}
		seen[string(k)] = struct{}{}
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: its metadata: %w", ErrMalformedMessage, err)
	case twice:
		return nil, fmt.Errorf("%w: its metadata has a key twice", ErrMalformedMessage)
	}
	return &receivedMetadata{bytes.Clone(block)}, nil
}

// eachPair calls f for the pairs of a block. It allocates nothing, whatever the
// block announces.
func eachPair(block []byte, f func(key, value []byte)) error {
	// Announced lengths are checked first: msgp takes them for an int, which may have
	// 32 bits.
	if _, err := msgpack.Skip(block, 1); err != nil {
		return err
	}
	n, b, err := msgp.ReadMapHeaderBytes(block)
	if err != nil {
		return err
	}
	for range n {
		var k, v []byte
		if k, b, err = msgp.ReadStringZC(b); err != nil {
			return err
		}
		if v, b, err = msgp.ReadStringZC(b); err != nil {
			return err
		}
		f(k, v)
	}
	if len(b) != 0 {
		return fmt.Errorf("%d bytes follow it", len(b))
	}
	return nil
}
