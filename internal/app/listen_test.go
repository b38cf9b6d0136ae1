package app

import (
	"context"
	"slices"
	"testing"

	"barid/internal/config"
)

// No single client can take all connections of a listener that the whole
// world reaches.
func TestEveryPublicListenerBoundsItsClients(t *testing.T) {
	cfg := config.Default("_relay.test")
	cfg.DataDir = t.TempDir()
	cfg.Log.Level = "error"
	for _, name := range cfg.Listen.Names() {
		cfg.Listen.Set(name, []string{"127.0.0.1:0"})
	}
	a, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	private := []string{"http_clear", "metrics"} // loopback and the operator's own networks
	for _, l := range a.listeners() {
		if l.PerClient == 0 && !slices.Contains(private, l.Name) {
			t.Errorf("%s has no bound per client", l.Name)
		}
	}
}
