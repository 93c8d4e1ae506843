// golem-js: a task, its output streamed, a file to the provider and back.
const { GolemNetwork } = require("@golem-sdk/golem-js");
const fs = require("node:fs");
const path = require("node:path");

const folder = process.argv[2];
const order = {
  demand: { workload: { imageTag: "golem/alpine:latest" }, subnetTag: process.env.YAGNA_SUBNET },
  market: { rentHours: 0.25, pricing: { model: "linear", maxStartPrice: 1, maxCpuPerHourPrice: 10, maxEnvPerHourPrice: 10 } },
};

(async () => {
  const network = new GolemNetwork({ payment: { network: process.env.YAGNA_PAYMENT_NETWORK } });
  const answer = {};
  try {
    await network.connect();
    const rental = await network.oneOf({ order });
    const unit = await rental.getExeUnit();
    answer.run = String((await unit.run("echo hello from golem-js")).stdout).trim();

    const pieces = [];
    const remote = await unit.runAndStream("echo one; sleep 0.2; echo two");
    await new Promise((resolve, reject) => {
      remote.stdout.subscribe({ next: (piece) => pieces.push(String(piece)), complete: resolve, error: reject });
    });
    await remote.waitForExit();
    answer.streamed = pieces.join("");

    const source = path.join(folder, "source");
    const target = path.join(folder, "target");
    fs.writeFileSync(source, require("node:crypto").randomBytes(1_000_003));
    await unit.uploadFile(source, "/golem/input/file");
    await unit.downloadFile("/golem/input/file", target);
    answer.sameFile = fs.readFileSync(source).equals(fs.readFileSync(target));
    await rental.stopAndFinalize();
  } finally {
    await network.disconnect();
  }
  console.log(JSON.stringify(answer));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
