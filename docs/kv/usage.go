package main

import (
	"context"
	"sync"

	"github.com/gridmux/gridmux/core"
)

const (
	tenantKey  = "tenant" // of the metadata that clients send
	maxTenants = 1000
)

// WithTenant returns a context whose calls are made for a tenant.
func WithTenant(ctx context.Context, tenant string) context.Context {
	return core.WithMetadata(ctx, tenantKey, tenant)
}

// Usage counts for which tenants a node has served calls. The zero value is ready.
type Usage struct {
	mu     sync.Mutex
	counts map[string]UsageCount
}

// UsageCount is what a tenant has used. Streams count when they have ended.
type UsageCount struct {
	Calls, Failed int
	Bytes         int64 // of messages, in both directions
}

// Intercept is a core.Interceptor. Calls without a tenant, as those between
// replicas, do not count.
func (u *Usage) Intercept(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
	err := next(ctx)
	tenant := core.MetadataFromContext(ctx, tenantKey)
	if !info.Incoming || tenant == "" {
		return err
	}
	toHandler, fromHandler := info.Sizes()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.counts == nil {
		u.counts = make(map[string]UsageCount)
	}
	if _, known := u.counts[tenant]; !known && len(u.counts) >= maxTenants {
		tenant = "others" // who makes names up must not fill the memory
	}
	count := u.counts[tenant]
	count.Calls++
	if err != nil {
		count.Failed++
	}
	count.Bytes += toHandler + fromHandler
	u.counts[tenant] = count
	return err
}

// Of returns what a tenant has used of the node.
func (u *Usage) Of(tenant string) UsageCount {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.counts[tenant]
}
