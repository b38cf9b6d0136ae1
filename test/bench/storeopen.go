package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

// manyAccounts is a large relay.
const manyAccounts = 100_000

// opening measures a start with many accounts on disk: of the store alone, and
// of the whole program to its first accepted login.
func opening(ctx context.Context, o options) ([]Row, error) {
	return onDisks(ctx, o, func(d disk) ([]Row, error) { return storeOpening(ctx, o, d) })
}

func storeOpening(ctx context.Context, o options, d disk) ([]Row, error) {
	accounts := manyAccounts
	if o.quick {
		accounts = 1000
	}
	site, err := newSite(d.dir)
	if err != nil {
		return nil, err
	}
	if err := makeAccounts(site.data(), accounts); err != nil {
		return nil, err
	}
	// The start that is measured is not the first on this directory: a key for
	// the certificate and the journal's files are made once.
	s, err := site.start(ctx, o.barid, o.serverCPU)
	if err != nil {
		return nil, err
	}
	err = firstLogins(ctx, s, 'n', 1, 1)
	if err = errors.Join(err, s.stop()); err != nil {
		return nil, err
	}
	// Nothing of the directories is in memory after a start of the machine.
	cold := dropCaches() == nil
	rows, err := openAlone(site.data(), accounts, d)
	if err != nil {
		return nil, err
	}
	if cold {
		if err := dropCaches(); err != nil {
			return nil, err
		}
	} else {
		fmt.Fprintln(os.Stderr, "  the caches of the kernel stay: that they are dropped needs root")
	}
	began := time.Now()
	if s, err = site.start(ctx, o.barid, o.serverCPU); err != nil {
		return nil, err
	}
	defer s.kill()
	c, err := dialIMAP(ctx, s.imap, person('n', 0), coreHello())
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	defer c.Close()
	memory, err := s.pss()
	if err != nil {
		return nil, err
	}
	of := fmt.Sprintf(", %d accounts, %s", accounts, d.name)
	return append(rows,
		Row{"start: to the first accepted login" + of, "s", took.Seconds(), lower, 1},
		Row{"start: PSS then" + of, "MB", float64(memory) / 1e6, lower, 0},
	), s.stop()
}

// openAlone opens and closes the store in this process.
func openAlone(dir string, accounts int, d disk) ([]Row, error) {
	before := heap()
	began := time.Now()
	s, err := openStore(dir, false, nil)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	work := s.disk.now()
	grown := heap() - before
	of := fmt.Sprintf(", %d accounts, %s", accounts, d.name)
	return []Row{
		{"open: the store alone" + of, "ms", ms(took), lower, 0},
		{"open: file operations" + of, "", float64(work.operations), lower, 0},
		{"open: heap in use" + of, "MB", float64(grown) / 1e6, lower, 0},
	}, s.Close()
}

// heap is what this process has in use, in octets, after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// dropCaches makes the kernel forget directories and files (proc_sys_vm(5)).
func dropCaches() error {
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0); err != nil {
		return fmt.Errorf("drop the kernel's caches: %w", err)
	}
	return nil
}
