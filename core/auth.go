package core

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Identity is who a peer has proved to be.
type Identity struct {
	// Name is the name of the node, the one that it claims in the handshake.
	Name string
	// Method says how it was proved, for logs and decisions of handlers:
	// "shared key", "node key", "mutual TLS", "loopback", or what an
	// Authenticator of your own returns. Empty: nothing was proved.
	Method string
}

// Authenticator proves to peers who this node is and verifies their proofs, in
// the handshake of every connection, in both directions. [SharedKey] and
// [NodeKeys] make one.
//
// transcript is a hash of 32 bytes over everything that was said before, in
// both directions: versions, random numbers of both sides, names, limits and
// features, the role of the side that proves, and the TLS session where both
// ends share one. A proof that covers it cannot be replayed, reflected, used
// for another node or on another connection, and nobody in between can change
// what the two sides agree on. A proof that does not cover it, such as a bearer
// token, gives all of that up.
//
// Both methods may be called concurrently, from goroutines that nothing else
// waits for; ctx ends with the attempt to connect, and [TLSFromContext] finds in it
// what the link is, for a Verify that goes by the certificate of the peer and needs
// no proof beside it. An error, or a panic, ends
// the attempt. What Verify returns as its error is logged on this node but not
// told to the stranger.
type Authenticator interface {
	// Prove returns the proof for the peer of that name, at most 8192 bytes.
	Prove(ctx context.Context, peer string, transcript []byte) ([]byte, error)
	// Verify checks the proof of a node that claims to be claimed. The peer is
	// refused unless the Name of the Identity that it returns is claimed.
	Verify(ctx context.Context, claimed string, transcript, proof []byte) (Identity, error)
}

// tlsKey finds the TLS session of a link in the context of an Authenticator.
type tlsKey struct{}

// TLSFromContext returns the TLS session of the link in whose handshake an
// [Authenticator] is called, with the certificates that the peer has shown. Who
// verified them, and for what, is up to the configuration of the transport; with
// Config.AllowTLSProxy they may be those of the proxy. It is nil where the link has no
// TLS, and outside of an Authenticator, and must not be modified. ctx may be derived
// from that of the Authenticator.
func TLSFromContext(ctx context.Context) *tls.ConnectionState {
	if ctx == nil {
		return nil
	}
	state, _ := ctx.Value(tlsKey{}).(*tls.ConnectionState)
	return state
}

// minSharedKey is the least that a shared key may have in bytes. It is the
// whole secret, so what is shorter can be guessed.
const minSharedKey = 16

// SharedKey makes an Authenticator of secrets that all nodes of the cluster
// have, each at least 16 random bytes. The first one proves, all verify, so that
// a key can be replaced without an interruption: add the new one behind the old
// on every node, then put it first everywhere, then leave the old one out.
//
// It keeps strangers out but does not tell members apart: whoever has the key
// can claim any name. [NodeKeys] does.
//
// The keys are copied and never printed. [NewManager] returns an error for one
// that is too short, and for no key at all.
func SharedKey(keys ...[]byte) Authenticator {
	copied := make([][]byte, len(keys))
	for i, k := range keys {
		copied[i] = slices.Clone(k)
	}
	return &sharedKey{keys: func() [][]byte { return copied }}
}

// sharedKey, like nodeKeys, has its secret in a function: package fmt prints
// whatever else it finds in a field that is not exported, as of a Manager that
// is printed with the wrong verb, without asking Format.
type sharedKey struct{ keys func() [][]byte }

func (a *sharedKey) check() error {
	keys := a.keys()
	if len(keys) == 0 {
		return errors.New("SharedKey was given no key: pass at least one")
	}
	for i, k := range keys {
		if len(k) < minSharedKey {
			return fmt.Errorf("key %d of SharedKey has %d bytes: use at least %d random ones", i+1, len(k), minSharedKey)
		}
	}
	return nil
}

// Both kinds of proofs begin what they cover with a label of their own, so that
// no key is ever used for what another part of a program could make it sign.
const (
	sharedKeyLabel = "gridmux/1 shared key\x00"
	nodeKeyLabel   = "gridmux/1 node key\x00"
)

func (a *sharedKey) mac(key, transcript []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, sharedKeyLabel)
	_, _ = h.Write(transcript)
	return h.Sum(nil)
}

func (a *sharedKey) Prove(_ context.Context, _ string, transcript []byte) ([]byte, error) {
	return a.mac(a.keys()[0], transcript), nil
}

var errWrongKey = errors.New("it was not made with a key that this node has")

func (a *sharedKey) Verify(_ context.Context, claimed string, transcript, proof []byte) (Identity, error) {
	// All keys are tried whatever comes out, so that the time tells nothing.
	ok := false
	for _, k := range a.keys() {
		if hmac.Equal(a.mac(k, transcript), proof) {
			ok = true
		}
	}
	if !ok {
		return Identity{}, errWrongKey
	}
	return Identity{Name: claimed, Method: "shared key"}, nil
}

// Format keeps the keys out of everything that is printed.
func (a *sharedKey) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "SharedKey(%d keys)", len(a.keys()))
}

// NodeKeys makes an Authenticator of one Ed25519 key pair per node, which binds
// names: a node can only claim the name whose private key it has. lookup returns
// the public key of a node; it is called at every attempt to connect, may be
// called concurrently, and may change its answers, as when a node is added or
// gets a new key.
//
// The private key is never printed. [NewManager] returns an error for one of the
// wrong length and for a nil lookup.
func NodeKeys(private ed25519.PrivateKey, lookup func(name string) (ed25519.PublicKey, bool)) Authenticator {
	private = slices.Clone(private)
	return &nodeKeys{private: func() ed25519.PrivateKey { return private }, lookup: lookup}
}

type nodeKeys struct {
	private func() ed25519.PrivateKey
	lookup  func(name string) (ed25519.PublicKey, bool)
}

func (a *nodeKeys) check() error {
	switch size := len(a.private()); {
	case size != ed25519.PrivateKeySize:
		return fmt.Errorf("the private key of NodeKeys has %d bytes: use one of ed25519.GenerateKey, of %d",
			size, ed25519.PrivateKeySize)
	case a.lookup == nil:
		return errors.New("the lookup of NodeKeys is nil: pass a function that returns the public key of a node")
	}
	return nil
}

func (a *nodeKeys) Prove(_ context.Context, _ string, transcript []byte) ([]byte, error) {
	return ed25519.Sign(a.private(), append([]byte(nodeKeyLabel), transcript...)), nil
}

func (a *nodeKeys) Verify(_ context.Context, claimed string, transcript, proof []byte) (Identity, error) {
	key, known := a.lookup(claimed)
	size := len(key)
	usable := size == ed25519.PublicKeySize
	if !known || !usable {
		// The time must not tell which names are known.
		key = ed25519.PublicKey(a.private()[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	}
	signed := ed25519.Verify(key, append([]byte(nodeKeyLabel), transcript...), proof)
	switch {
	case !known:
		return Identity{}, fmt.Errorf("no public key is known for node %q", claimed)
	case !usable:
		return Identity{}, fmt.Errorf("the public key of node %q has %d bytes, not %d", claimed, size, ed25519.PublicKeySize)
	case !signed:
		return Identity{}, fmt.Errorf("it was not signed with the private key of node %q", claimed)
	}
	return Identity{Name: claimed, Method: "node key"}, nil
}

// Format keeps the key out of everything that is printed.
func (a *nodeKeys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "NodeKeys(...)") }

// checkAuth returns what is wrong with an Authenticator of this package.
func checkAuth(a Authenticator) error {
	if c, ok := a.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

// authenticate runs a method of the user's Authenticator on a goroutine of its
// own, so that one that blocks or panics harms nothing but the attempt.
func authenticate[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		a := answer{err: errors.New("the Authenticator did not return")}
		defer func() {
			if v := recover(); v != nil {
				a.err = fmt.Errorf("the Authenticator panicked: %v", v)
			}
			ch <- a
		}()
		a.v, a.err = f()
	}()
	select {
	case a := <-ch:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
