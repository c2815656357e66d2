class Jobqueue < Formula
  desc "Turns jobs in Redis into rows in a SQL database"
  homepage "@HOME@"
  version "@VERSION@"
  license "Apache-2.0"

  on_macos do
    @IF aarch64-apple-darwin@
    on_arm do
      url "@DOWNLOADS@/jobqueue-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256@"
    end
    @END@
    @IF x86_64-apple-darwin@
    on_intel do
      url "@DOWNLOADS@/jobqueue-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256@"
    end
    @END@
  end

  on_linux do
    @IF aarch64-unknown-linux-gnu@
    on_arm do
      url "@DOWNLOADS@/jobqueue-@VERSION@-aarch64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256@"
    end
    @END@
    @IF x86_64-unknown-linux-gnu@
    on_intel do
      url "@DOWNLOADS@/jobqueue-@VERSION@-x86_64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256@"
    end
    @END@
  end

  depends_on "redis" => :recommended

  def install
    bin.install "jobqueue", "jobqueue-worker"
    bin.install_symlink "jobqueue" => "kubectl-jobqueue"
    bash_completion.install "completions/jobqueue.bash" => "jobqueue"
    zsh_completion.install "completions/_jobqueue"
    fish_completion.install "completions/jobqueue.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/jobqueue --version")
  end
end
