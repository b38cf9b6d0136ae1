package cmdeploy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The size that the recorded figures have is 10000 accounts of 20 messages:
//
//	go test ./storage/cmdeploy -run '^$' -bench Import -benchtime 1x -import-accounts 10000
var (
	importAccounts = flag.Int("import-accounts", 500, "accounts of the tree that BenchmarkImport takes over")
	importMessages = flag.Int("import-messages", 20, "messages in each of them")
	importDir      = flag.String("import-dir", "", "where the tree is made (default a temporary directory)")
)

// makeTree makes accounts as Dovecot leaves them.
func makeTree(b *testing.B, tree string, accounts, messages int) {
	body := gzipped(b, strings.Repeat("Encrypted words. ", 100))
	for i := range accounts {
		dir := filepath.Join(tree, fmt.Sprintf("acct%05d@relay.test", i))
		put(b, hash, dir, "password")
		put(b, "", dir, "enforceE2EEincoming")
		put(b, `{"devicetoken": {"1111": 1795600000}}`, dir, "metadata.json")
		put(b, "", dir, "dovecot.index.log")
		var list strings.Builder
		fmt.Fprintf(&list, "3 V%d N%d G%032x\n", 1275660208+i, messages+100, i+1)
		for n := range messages {
			base := fmt.Sprintf("%d.M%dP%d.mx,S=1700,W=1701", 1795000000+n, i, n)
			put(b, body, dir, "cur", base+":2,S")
			fmt.Fprintf(&list, "%d :%s\n", n+1, base)
		}
		put(b, list.String(), dir, "dovecot-uidlist")
	}
}

// BenchmarkImport adopts a tree in place, flushes included, and tells the
// largest heap that it had on the way.
func BenchmarkImport(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		dataDir := *importDir
		if dataDir == "" {
			dataDir = b.TempDir()
		}
		tree := filepath.Join(dataDir, "mail", "relay.test")
		made := time.Now()
		makeTree(b, tree, *importAccounts, *importMessages)
		b.Logf("%d accounts, %d messages; made in %v", *importAccounts, *importAccounts**importMessages, time.Since(made).Round(time.Second))
		unix.Sync() // a tree that is taken over was written long ago
		runtime.GC()
		var most atomic.Uint64
		done := make(chan struct{})
		go func() {
			var m runtime.MemStats
			for {
				select {
				case <-done:
					return
				case <-time.After(100 * time.Millisecond):
					runtime.ReadMemStats(&m)
					most.Store(max(most.Load(), m.HeapInuse))
				}
			}
		}()
		b.StartTimer()
		began := time.Now()
		sum, found := importTree(b, dataDir, tree)
		took := time.Since(began)
		b.StopTimer()
		close(done)
		if sum.Accounts != int64(*importAccounts) || sum.Messages != int64(*importAccounts**importMessages) || len(found) != 0 {
			b.Fatalf("%+v, %v", sum, found)
		}
		b.ReportMetric(float64(sum.Messages)/took.Seconds(), "messages/s")
		b.ReportMetric(float64(most.Load())/(1<<20), "MB-heap")
		if err := os.RemoveAll(tree); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func importTree(b *testing.B, dataDir, dir string) (Sum, []Found) {
	s := openStore(b, dataDir)
	tree := openTree(b, dir)
	names, found, err := tree.Accounts()
	if err != nil {
		b.Fatal(err)
	}
	w := &Work{Tree: tree, Accounts: names, Store: s, Workers: max(4, 2*runtime.GOMAXPROCS(0)), Report: func(f Found) error { found = append(found, f); return nil }}
	sum, err := w.Run(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return sum, found
}
