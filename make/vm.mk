# Stock machines: Debian as it comes, in QEMU, with gitd installed the way docs/install.md says. See test/vm.
.PHONY: test-vm need-vm
test-vm: need-vm build ## gitd on stock Debian machines in QEMU: SUITE=bookworm|trixie, ARGS='-run restart -keep'
	go run ./test/vm $(if $(SUITE),-suite $(SUITE)) $(ARGS)

need-vm: need-serve need-git
	@$(call need,command -v qemu-system-x86_64,qemu-system-x86)
	@$(call need,command -v mkfs.ext4,e2fsprogs)
	@$(call need,test -e /usr/share/keyrings/debian-archive-keyring.gpg,debian-archive-keyring)
